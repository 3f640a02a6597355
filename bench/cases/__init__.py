"""What is measured: shapes, problems, contenders, whole models, long sequences, checkers."""
