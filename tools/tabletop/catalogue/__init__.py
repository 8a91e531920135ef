"""The catalogue: what can be rendered. A category is a function that draws one instance's shape from a random generator.

`GROUPS` is the two-level hierarchy. Shape alone tells a category: material, pattern and colours are drawn apart
from it (`tabletop.parameters`).
"""

from . import desk, food, furniture, kitchenware, plants, tools, toys

_MODULES = {
    kitchenware: "mug, bowl, plate, bottle, teapot, wine glass, pan, jug, fork, whisk",
    food: "apple, bananas, carrot, mushroom, doughnut, ice cream, cherries, pumpkin, pineapple, cake, burger",
    furniture: "chair, stool, table, table lamp, bookcase, bed, sofa, ladder",
    toys: "car, locomotive, sailing boat, aeroplane, rocket, duck, teddy bear, snowman, robot, stacking rings",
    tools: "hammer, key, scissors, spanner, paintbrush, padlock, saw, bucket, umbrella, watering can",
    desk: "book, pencil, candle, alarm clock, die, globe, hourglass, hand bell, spectacles",
    plants: "pot plant, cactus, tulip, conifer, palm, sunflower",
}
GROUPS = {
    module.__name__.rpartition(".")[2]: tuple(names.split(", "))
    for module, names in _MODULES.items()
}
GROUP_OF = {name: group for group, names in GROUPS.items() for name in names}
CATEGORIES = {
    name: getattr(module, name.replace(" ", "_"))
    for module, names in _MODULES.items()
    for name in names.split(", ")
}
