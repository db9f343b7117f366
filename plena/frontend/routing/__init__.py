"""Routed experts in a graph of torch: values by slot and by pair of token and slot, as what they mean by expert."""
