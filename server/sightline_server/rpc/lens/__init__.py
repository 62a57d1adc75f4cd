"""`sightline.v1.LensService`: its methods, and its messages as values of the domain and back."""
