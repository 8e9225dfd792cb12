"""The embedded corpus: faces drawn from FACS action units, in the shape of CK+.

numpy and OpenCV only. All lengths are millimetres on the face unless a name says px: origin midway
between the pupils, x to the right of the image, y down. A drawn face is no photograph: accuracies
on this corpus say nothing about real faces.
"""
