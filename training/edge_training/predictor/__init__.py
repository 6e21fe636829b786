"""The Predictor: a trained model's answers over HTTP."""
