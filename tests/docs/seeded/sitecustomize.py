"""Lets programs of the documents throw the same dice each time."""

import os
import random

random.seed(int(os.environ["DOCUMENT_SEED"]))
