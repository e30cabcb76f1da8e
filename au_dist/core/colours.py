"""How colours reach a network: from 0 to 1, less their mean on ImageNet, divided by their deviation there."""

MEAN_C = (0.485, 0.456, 0.406)
STD_C = (0.229, 0.224, 0.225)
