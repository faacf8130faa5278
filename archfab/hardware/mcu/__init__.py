"""Microcontrollers: C code for an integer network, its kernels, and a simulator that counts every instruction."""
