"""Mask AP, boundary AP, mask IoU, retention, intervals."""
