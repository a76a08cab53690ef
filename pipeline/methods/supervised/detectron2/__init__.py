"""Networks of detectron2 under our engine and evaluation.  Importing it does not need detectron2."""
