"""Can parameters be read off features?"""
