"""Ground truth in people's own forms to COCO json and label maps, with an audit."""
