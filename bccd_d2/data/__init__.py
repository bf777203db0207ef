"""From folders of images and masks to training samples: conversion, audit, catalog, mapper."""
