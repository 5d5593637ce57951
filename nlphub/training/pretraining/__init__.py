"""Pretraining: masked language modelling on shards of tokenised text, from scratch or as adaptation to a domain."""
