"""Pictures of cells: outlines, truth beside prediction, contact sheets, anchors."""
