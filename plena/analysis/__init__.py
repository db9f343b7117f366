"""What passes need to know about affine-form programs: loops, effects, dependences, repeated streams, costs."""
