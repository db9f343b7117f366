"""The dialects of the compiler's levels."""
