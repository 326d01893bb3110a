"""Do distances keep the order of a transformation's magnitude?"""
