"""What flat programs and their parts take: counts, cycles under every timing profile, tables, traces."""
