"""How much everything takes: units of a data root, their figures and growth, and their scan."""
