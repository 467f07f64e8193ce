"""The programs: `borealis-storage` and `borealis-agent`, wired by their environment."""
