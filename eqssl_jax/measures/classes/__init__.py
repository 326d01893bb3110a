"""How well do features tell classes apart?"""
