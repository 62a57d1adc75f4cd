"""What the server says about itself: metrics and logs, neither of which ever holds a photo fact."""
