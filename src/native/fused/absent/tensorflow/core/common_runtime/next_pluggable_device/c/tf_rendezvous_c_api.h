// Included by tensorflow/c/kernels.h, and not among what set-up unpacks of TensorFlow: nothing of it is used here.
#pragma once
struct TF_RendezvousThunk;
