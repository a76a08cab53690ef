"""Mask AP, boundary AP, mask IoU, mean IoU of label maps, retention, intervals."""
