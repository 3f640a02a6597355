"""What the checker can check: each file makes a Problem of one kind of target."""
