"""Drawn faces, of which every attribute is known.

A face is a vector graphic put together from parts and colours: hair, eyes, mouth, glasses, clothes, and so on, in one
of a few styles, which are the classes. Face ``n`` is a function of its number alone: its attributes are drawn from a
table by a hash of ``n`` (:mod:`ddim_edu.data.faces.attributes`, which needs no other package and no pixels), then a
picture is drawn from the attributes (:mod:`ddim_edu.data.faces.drawing`). So what is in a picture is known and not
guessed, two faces are the same picture where their attributes are the same, and one attribute can be changed with all
others kept. The data set with its cache is :mod:`ddim_edu.data.faces.dataset`.

Attributes are drawn independently of each other and each evenly among its values, but that optional parts (a beard,
glasses) are there with the probability that the table gives. Only then a colour that nothing in the picture has is set
to ``none``, so that equal rows and equal pictures go together.

The parts are those of DiceBear's styles (package ``dicebear-styles``, read from there and not copied), each under the
licence that :mod:`ddim_edu.data.faces.styles` names; colours are that module's, the same for all styles, and parts that
make no good face at 32 pixels are left out. ``dicebear-core`` puts a drawing together, ``resvg-py`` makes pixels of it:
``pip install "ddim_edu[faces]"``. 64 pictures come with this package and need none of them.
"""
