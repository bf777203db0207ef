"""What trains or predicts many times to answer a question: benchmark, ablation, tuning, folds."""
