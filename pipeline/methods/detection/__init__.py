"""What every detector on CondInst shares: targets, detection losses, inference."""
