"""The space of the digits table: convolutional networks of one to three blocks for 8x8 images, 1,197 of them."""

from archfab import choose, nn, repeat

width = choose("width", 4, 6, 10)


def block(i):
    """The first block halves the image and each is wider than the one before; a block beyond the depth decides
    nothing, and only convolutions have a kernel, only inverted residuals an expansion."""
    channels, stride, kernel = width * (i + 1), 1 if i else 2, choose(f"kernel{i}", 3, 5)
    return choose(
        f"block{i}",
        pool=nn.MaxPool2d(3, stride=stride, padding=1),
        conv=nn.ConvNormAct(channels, kernel, stride),
        separable=nn.SeparableConv(channels, kernel, stride),
        mbconv=nn.MBConv(channels, 3, choose(f"expand{i}", 2, 4), stride))


space = nn.Sequential(nn.ConvNormAct(width, 3), repeat(choose("depth", 1, 2, 3), block), nn.Classifier(10))
