"""The scalp as a clinic measures it: landmarks, tapes, geodesics, the 10-10 system."""
