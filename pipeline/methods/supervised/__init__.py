"""CondInst trained on masks or pseudo-masks."""
