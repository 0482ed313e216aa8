"""The patch series that bring Pillow-SIMD up to date, one folder per Pillow-SIMD release."""
