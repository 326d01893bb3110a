"""What do encoders of point clouds know of axes and turns?"""
