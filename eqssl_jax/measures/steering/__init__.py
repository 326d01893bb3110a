"""Which rotation does a draw cause?"""
