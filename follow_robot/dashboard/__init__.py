"""The local web page: video, state and plots, and the user's wishes to the car."""
