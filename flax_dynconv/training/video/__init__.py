"""Videos and stereo pairs: a network predicts the frames that follow."""
