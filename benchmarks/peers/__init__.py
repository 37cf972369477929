"""What is compared: ``web`` names Flask apps that read and write, ``write`` ways to write."""
