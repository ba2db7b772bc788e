"""Tests of evaluate and predict."""
