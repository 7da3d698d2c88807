"""What is held when: specifications, pure transitions, events, and records folded from them. No torch."""
