"""Regions: which part of the photograph gets which style, and which part of the painting that style is taken from."""

from impasto.regions.layout import Layout, Region, layered, paired, whole
from impasto.regions.pairs import paired_regions
from impasto.regions.weights import check_aspect, guidance, weight_of

__all__ = ["Layout", "Region", "check_aspect", "guidance", "layered", "paired", "paired_regions", "weight_of", "whole"]
