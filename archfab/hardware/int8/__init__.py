"""Integer networks: the graph, quantisation of a float network, a numpy reference, the .tflite file."""
