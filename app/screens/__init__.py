"""The screens: they draw what the other rooms know."""
