"""Search spaces: a network description with decisions in it, and everything that follows from it."""

from archfab.space.choices import CHANNELS, Choice, choose, maximum, minimum, repeat
from archfab.space.descriptions import Description, describe
from archfab.space.joint import device_of, joined, network_of, networks_of
from archfab.space.space import Space, as_space

__all__ = ["CHANNELS", "Choice", "Description", "Space", "as_space", "choose", "describe", "device_of", "joined",
           "maximum", "minimum", "network_of", "networks_of", "repeat"]
