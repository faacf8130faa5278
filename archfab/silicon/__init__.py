"""The chip under the network: what it yields, what a good die costs, how it ages, what it emits."""
