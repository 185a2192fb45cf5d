"""The version of the project; .pc files carry it."""

VERSION = "0.1.0"
