"""What lies near an embedding?"""
