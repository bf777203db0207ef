"""Files in and out: images, label images, large TIFFs, atomic writing; nothing of ours below."""
