"""Which pretrained net suits some images, at which size, and how many of its layers to freeze: measured on them."""
