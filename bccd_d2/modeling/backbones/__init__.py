"""Backbones and their pyramids: timm ViTs, ResNet50, a small U-Net; weights and presets."""
