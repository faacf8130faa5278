"""The words of `archfab silicon` about yield, each with its options, what does it and how it is shown."""
