"""Will it work, and what will it cost. Pure: recipes and checkpoint headers in, findings and a plan out."""
